FROM scratch
COPY . /
COPY ./ /
