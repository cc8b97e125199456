"""Servers that speak OpenAI's HTTP interface: requests, replies, retries and pacing."""
