"""How well people are served: objectives and budgets, and a page that draws what was measured."""
