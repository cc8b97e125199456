"""Files that training leaves behind: checkpoints, the model folder, and the proof that both can be written."""
