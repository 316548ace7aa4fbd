"""Requests for an upstream that speaks Messages itself: the client's bytes, changed only in what it does not take."""
