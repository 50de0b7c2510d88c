"""What the operator's command ``1space`` does: one module per command, each with ``run(arguments) -> exit code``."""
