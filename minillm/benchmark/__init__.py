"""What `minillm bench` measures: the machine's limits, and how near to them the engine comes."""
