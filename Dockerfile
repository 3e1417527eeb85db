# docker build -t costsim . && docker run --rm costsim plan gpt3
FROM python:3.12-slim
WORKDIR /src
COPY . .
RUN python -m pip install --no-cache-dir . && rm -rf /src/*
RUN useradd --create-home planner
USER planner
WORKDIR /home/planner
ENTRYPOINT ["costsim"]
CMD ["--help"]
