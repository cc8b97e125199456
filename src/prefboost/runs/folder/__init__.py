"""The run folder: its manifest, its stages, who does them, and how parts wait for the whole."""
