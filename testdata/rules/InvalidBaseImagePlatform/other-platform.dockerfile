FROM localhost:5017/arm
USER x
