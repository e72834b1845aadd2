"""The pages of a review: routes, templates and what protects them."""
