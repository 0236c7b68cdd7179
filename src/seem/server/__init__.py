"""`seem serve`: the API over HTTP, and the page that uses it. Needs the extra `serve`.

A thin layer: a route reads a request, calls one method of the public API in a bounded pool of workers, and writes the
answer. `app.create_app` puts it together; `docs/serve.md` is the contract.
"""
