"""The commands of the export layer."""

# Command -> (place of its function, what it does). A module is imported when its command is called.
COMMANDS = {
    "export": (
        "specter_export.cli.export:export",
        "Export a training run to an ONNX bundle. It fails if too many labels differ from those of PyTorch.",
    ),
    "parity": (
        "specter_export.cli.parity:parity",
        "Compare every graph of a bundle with its PyTorch original, on any papers.",
    ),
}
