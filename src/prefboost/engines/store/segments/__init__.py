"""A store of segments: files that only ever one process writes, for disks and objects that many machines share."""
