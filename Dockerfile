# A run behind HTTP, on a CPU:
#   docker build -t tadp . && docker run -p 8000:8000 -v "$PWD/runs/first:/run-folder:ro" tadp
FROM python:3.11-slim
WORKDIR /tadp
# torch's CPU build: the ordinary one brings 6 GB of CUDA
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu
COPY packages packages
RUN pip install --no-cache-dir ./packages/backbone ./packages/captioning ./packages/heads ./packages/personalize \
    "./packages/cli[serve]"
USER nobody
ENV HF_HUB_OFFLINE=1 HOME=/tmp
EXPOSE 8000
CMD ["tadp", "serve", "/run-folder", "--host", "0.0.0.0", "--device", "cpu"]
