"""What is drawn, and from what: seeds, Philox streams, the grid, draws of any discrete law, what a noise must be."""
