"""Original downloads and other tools' files into ReChorus's formats, by the rules of ReChorus's published notebooks."""
