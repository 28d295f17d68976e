"""One host step per file: each a deploy that takes the host's plan. No arithmetic here."""
