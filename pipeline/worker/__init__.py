"""The worker's side of a trial: runs one attempt on a node. Standard library only."""
