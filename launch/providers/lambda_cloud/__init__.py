"""Lambda, by its Cloud API (docs/providers/lambda.md). `lambda` is a keyword of Python."""
