FROM nginx:1.29
RUN rm /etc/nginx/conf.d/default.conf
RUN rm -rf /var/lib/apt/lists/* /tmp/*
