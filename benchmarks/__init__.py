"""Speed and memory of the operators and of an ANS epoch, against plain PyTorch: `python -m benchmarks.report`."""
