"""Shared by the tests: papers, dumps, bundles and reports on disk, and disks and devices that fail on purpose."""
