"""What a night would take: papers, tokens, hours, disk and memory."""
