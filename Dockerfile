# A run behind HTTP, on a CPU:
#   docker build -t tadp --build-arg TORCH_CPU_INDEX=ADDRESS . && docker run -p 8000:8000 -v "$PWD/runs/first:/run-folder:ro" tadp
FROM python:3.11-slim
WORKDIR /tadp
# The index of torch's CPU builds, which PyTorch's installation page names: the ordinary build brings 6 GB of CUDA
ARG TORCH_CPU_INDEX
RUN pip install --no-cache-dir torch torchvision --index-url "$TORCH_CPU_INDEX"
COPY packages packages
RUN pip install --no-cache-dir ./packages/backbone ./packages/captioning ./packages/heads ./packages/personalize \
    "./packages/cli[serve]"
USER nobody
ENV HF_HUB_OFFLINE=1 HOME=/tmp
EXPOSE 8000
CMD ["tadp", "serve", "/run-folder", "--host", "0.0.0.0", "--device", "cpu"]
