"""The page as an operator sees it: a real browser, a real deployment, a fake world."""
