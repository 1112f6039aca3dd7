FROM localhost:5017/trigger
USER x
