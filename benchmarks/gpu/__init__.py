"""What a machine with a GPU is asked, `make gpu-check`: are the kernels right there, how fast are they, what fits."""
