"""The run folder that a training leaves behind: written, resumed, read and reported."""
