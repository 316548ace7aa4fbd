"""What becomes of each part of a request to either of OpenAI's APIs, with gaps for what each calls its own."""
