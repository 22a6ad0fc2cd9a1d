"""What the diallers of this package have in common.

- `answers.py`: refusals and unseen answers, raised where they are found;
- `fields.py`: fields of their configuration;
- `orders.py`: the only way in which a number or an agent gets into a command or a request;
- `http.py`: one request over HTTP, of which it is known whether it left, and what its status means for an order;
- `http_dialler.py`: the dialler that is built on it.
"""
