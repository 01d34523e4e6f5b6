"""When each word was said, and features of one row a word."""
