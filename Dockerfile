# docker build -t dmseg . && docker run --rm -v "$PWD:/work" dmseg demo --out demo
FROM python:3.11-slim
RUN useradd --create-home --uid 1000 dmseg && mkdir /work && chown dmseg /work
COPY . /src
# EXTRAS= makes an image without the torch stack (about 6 GB).
ARG EXTRAS=[models]
RUN pip install --no-cache-dir "/src${EXTRAS}" && rm -rf /src
USER dmseg
WORKDIR /work
ENTRYPOINT ["dmseg"]
CMD ["--help"]
