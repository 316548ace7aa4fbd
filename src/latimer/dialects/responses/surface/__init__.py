"""What becomes of each part of the Messages API over the Responses API."""
