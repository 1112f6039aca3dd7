FROM --platform=linux/arm64 localhost:5017/arm AS arm64
USER x
