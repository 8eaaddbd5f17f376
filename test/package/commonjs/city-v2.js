const { defineTransform } = require('godwit/transform');
const { CityV1, CityV2 } = require('./models.js');

module.exports = defineTransform(CityV1, CityV2, ({ id, lat }) => ({ id, latitude: Number(lat) }));
