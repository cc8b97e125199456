"""Ray: verbs whose work goes to the nodes of a cluster. Nothing outside this package imports Ray."""
