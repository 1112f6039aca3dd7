FROM debian:12
RUN echo apt-get update; echo "x && apt-get update"
RUN npm run build && yarn build
# check=skip=PackageCacheInLayer
RUN apt-get update
