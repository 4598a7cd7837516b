"""Estimate what a night needs: papers, tokens, hours, disk and memory."""
