FROM node:22
COPY . .
RUN npm install -g pm2 && npm cache clean --force
RUN pip install --no-cache-dir . 
RUN yarn build
RUN --mount=type=cache,target=/root/.npm npm ci
