FROM localhost:5017/workdir
WORKDIR app
