"""The demo on synthetic papers."""
