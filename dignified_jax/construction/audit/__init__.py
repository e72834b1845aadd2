"""Audits of accepted rows: an external judge and people answer the verifier's nine criteria."""
