# The server on a CPU: docker build -t seem . && docker run -p 127.0.0.1:8000:8000 seem
# It prints a random token at its start; -e SEEM_TOKEN=... sets one. `docs/serve.md` has the rest.
FROM python:3.12-slim

ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

WORKDIR /build
COPY constraints.txt ./
RUN pip install "$(sed -n 's/^\(torch==[^ ;]*\).*/\1/p' constraints.txt)" --index-url "$TORCH_INDEX_URL"
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --constraint constraints.txt ".[serve]"

RUN useradd --system --create-home --shell /usr/sbin/nologin seem
USER seem
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["seem", "serve", "--host", "0.0.0.0"]
