"""What models get wrong about tool calls, put right: stages on hub events, the same for every upstream dialect."""
