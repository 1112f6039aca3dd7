FROM localhost:5017/amd
USER x
