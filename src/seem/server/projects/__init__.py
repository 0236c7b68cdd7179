"""A folder of photos as a project: which photos there are, their annotations in a database, one export."""
