"""Going on with an answer whose upstream died in the middle: without a word twice, and no tool call twice."""
