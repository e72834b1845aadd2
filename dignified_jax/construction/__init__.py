"""Preference rows made by models behind endpoints, out of anchor seeds; verified and audited."""
