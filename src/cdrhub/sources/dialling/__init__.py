"""What the diallers of this package have in common.

- `answers.py`: errors that are answers, and what an HTTP status means for an order;
- `orders.py`: the only door through which a number or an agent gets into a command or a request;
- `http.py`: one request over HTTP, of which it is known whether it left.
"""
