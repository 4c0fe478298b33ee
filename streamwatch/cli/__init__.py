"""What each command does, one module each. Imported only when the command runs: `--help` must be quick."""
