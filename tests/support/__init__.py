"""What the tests share: papers, dumps, bundles and reports on disk, and machines that fail when told to."""
