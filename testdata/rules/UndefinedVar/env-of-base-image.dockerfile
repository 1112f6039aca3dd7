FROM localhost:5017/env
COPY $HOME_DIR/$GOPTH /x
