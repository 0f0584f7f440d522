/* DHPO's network for MNIST, trained by stochastic gradient descent with momentum, one image after the other.

   conv 5x5 (1 -> 2), max-pool 2, ReLU, conv 5x5 (2 -> 4), max-pool 2, ReLU, dropout, linear (64 -> 10), softmax.
   PyTorch spends most of its time on calls for so small a network; this does the same arithmetic ten times faster.
   The parameters lie in one array, in the order of PyTorch's parameters(): see dhpo_network.py. */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float Eight __attribute__((vector_size(32)));
typedef float Unaligned __attribute__((vector_size(32), aligned(4), may_alias));

typedef struct {
    float w1[2][5][5], b1[2], w2[4][2][5][5], b2[4], w3[10][64], b3[10];
} Network;

typedef struct {
    float x[28][28];
    float first[2][12][12];  /* after pooling and ReLU, and where each maximum was */
    unsigned char first_row[2][12][12], first_column[2][12][12];
    float second[64];
    unsigned char second_row[64], second_column[64];
    float kept[64];          /* what dropout multiplies with */
    float probability[10];
} Pass;

int network_floats(void) { return sizeof(Network) / sizeof(float); }

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Pools two rows and applies ReLU. Without branches, which would be predicted badly. */
static inline void pool(const float *above, const float *below, int width, int row, float *out, unsigned char *out_row,
                        unsigned char *out_column) {
    float high[24];
    int lower[24];
    for (int j = 0; j < 2 * width; j++) {
        lower[j] = below[j] > above[j];
        high[j] = lower[j] ? below[j] : above[j];
    }
    for (int j = 0; j < width; j++) {
        const int right = high[2 * j + 1] > high[2 * j];
        const float best = right ? high[2 * j + 1] : high[2 * j];
        out[j] = best < 0 ? 0 : best; /* keeps a NaN */
        out_row[j] = row - 1 + (right ? lower[2 * j + 1] : lower[2 * j]);
        out_column[j] = 2 * j + right;
    }
}

/* Both channels at once, so that each row is loaded once; the sums stay in registers. */
static void first_layer(const Network *net, Pass *pass) {
    float rows[2][2][24];
    for (int r = 0; r < 24; r++) {
        Eight a0 = net->b1[0] - (Eight){0}, b0 = net->b1[1] - (Eight){0}, a1 = a0, a2 = a0, b1 = b0, b2 = b0;
        for (int ky = 0; ky < 5; ky++)
            for (int kx = 0; kx < 5; kx++) {
                const Unaligned *x = (const Unaligned *)&pass->x[r + ky][kx];
                const float a = net->w1[0][ky][kx], b = net->w1[1][ky][kx];
                a0 += a * x[0], a1 += a * x[1], a2 += a * x[2];
                b0 += b * x[0], b1 += b * x[1], b2 += b * x[2];
            }
        Unaligned *to = (Unaligned *)rows[0][r & 1];
        to[0] = a0, to[1] = a1, to[2] = a2;
        to = (Unaligned *)rows[1][r & 1];
        to[0] = b0, to[1] = b1, to[2] = b2;
        if (r & 1)
            for (int c = 0; c < 2; c++)
                pool(rows[c][0], rows[c][1], 12, r, pass->first[c][r >> 1], pass->first_row[c][r >> 1],
                     pass->first_column[c][r >> 1]);
    }
}

static void second_layer(const Network *net, Pass *pass) {
    float rows[4][2][8];
    for (int r = 0; r < 8; r++) {
        Eight s0 = net->b2[0] - (Eight){0}, s1 = net->b2[1] - (Eight){0}, s2 = net->b2[2] - (Eight){0},
              s3 = net->b2[3] - (Eight){0};
        for (int c = 0; c < 2; c++)
            for (int ky = 0; ky < 5; ky++)
                for (int kx = 0; kx < 5; kx++) {
                    const Eight x = *(const Unaligned *)&pass->first[c][r + ky][kx];
                    s0 += net->w2[0][c][ky][kx] * x, s1 += net->w2[1][c][ky][kx] * x;
                    s2 += net->w2[2][c][ky][kx] * x, s3 += net->w2[3][c][ky][kx] * x;
                }
        *(Unaligned *)rows[0][r & 1] = s0, *(Unaligned *)rows[1][r & 1] = s1;
        *(Unaligned *)rows[2][r & 1] = s2, *(Unaligned *)rows[3][r & 1] = s3;
        if (r & 1)
            for (int o = 0; o < 4; o++) {
                const int place = o * 16 + (r >> 1) * 4;
                pool(rows[o][0], rows[o][1], 4, r, pass->second + place, pass->second_row + place,
                     pass->second_column + place);
            }
    }
}

static void forward(const Network *net, Pass *pass, const unsigned char *image) {
    for (int r = 0; r < 28; r++)
        for (int j = 0; j < 28; j++) pass->x[r][j] = (image[28 * r + j] / 255.0f - 0.1307f) / 0.3081f;
    first_layer(net, pass);
    second_layer(net, pass);
}

/* The class with the largest output; fills in the probabilities. */
static int classify(const Network *net, Pass *pass, const float *features) {
    int best = 0;
    float largest, total = 0;
    for (int o = 0; o < 10; o++) {
        float sum = net->b3[o];
        for (int i = 0; i < 64; i++) sum += net->w3[o][i] * features[i];
        pass->probability[o] = sum;
        if (sum > pass->probability[best]) best = o;
    }
    largest = pass->probability[best];
    for (int o = 0; o < 10; o++) total += pass->probability[o] = expf(pass->probability[o] - largest);
    for (int o = 0; o < 10; o++) pass->probability[o] /= total;
    return best;
}

static void backward(const Network *net, Pass *pass, const float *features, int label, float share, Network *gradient) {
    float down[64] = {0}, first[2][12][12];
    memset(first, 0, sizeof first);
    for (int o = 0; o < 10; o++) {
        const float g = (pass->probability[o] - (o == label)) * share;
        gradient->b3[o] += g;
        for (int i = 0; i < 64; i++) gradient->w3[o][i] += g * features[i], down[i] += g * net->w3[o][i];
    }
    for (int i = 0; i < 64; i++) {
        if (pass->second[i] == 0 || pass->kept[i] == 0) continue;
        const float g = down[i] * pass->kept[i];
        const int o = i >> 4, r = pass->second_row[i], j = pass->second_column[i];
        gradient->b2[o] += g;
        for (int c = 0; c < 2; c++)
            for (int ky = 0; ky < 5; ky++)
                for (int kx = 0; kx < 5; kx++) {
                    gradient->w2[o][c][ky][kx] += g * pass->first[c][r + ky][j + kx];
                    first[c][r + ky][j + kx] += g * net->w2[o][c][ky][kx];
                }
    }
    for (int c = 0; c < 2; c++)
        for (int i = 0; i < 12; i++)
            for (int k = 0; k < 12; k++) {
                const float g = first[c][i][k];
                if (pass->first[c][i][k] == 0 || g == 0) continue;
                const int r = pass->first_row[c][i][k], j = pass->first_column[c][i][k];
                gradient->b1[c] += g;
                for (int ky = 0; ky < 5; ky++)
                    for (int kx = 0; kx < 5; kx++) gradient->w1[c][ky][kx] += g * pass->x[r + ky][j + kx];
            }
}

/* Trains on the rows order[0..count-1] in batches. `net` and `velocity` are changed in place.
   Returns how many rows had any feature above zero: none, and only the last layer's biases still learn. */
int train(const unsigned char *images, const unsigned char *labels, const int32_t *order, int count, int batch,
           Network *net, Network *velocity, float rate, float momentum, float dropout, uint64_t seed) {
    static Pass pass;
    static Network gradient;
    uint64_t state = seed * 0x9E3779B97F4A7C15u + 0x2545F4914F6CDD1Du;
    const int size = network_floats();
    int alive = 0;
    for (int begin = 0; begin < count; begin += batch) {
        const int rows = count - begin < batch ? count - begin : batch;
        memset(&gradient, 0, sizeof gradient);
        for (int k = begin; k < begin + rows; k++) {
            float features[64], largest = 0;
            forward(net, &pass, images + 784 * (int64_t)order[k]);
            for (int i = 0; i < 64; i++) {
                const float drawn = (next_random(&state) >> 40) * (1.0f / 16777216.0f);
                pass.kept[i] = drawn < dropout ? 0 : 1 / (1 - dropout);
                features[i] = pass.second[i] * pass.kept[i];
                largest = pass.second[i] > largest ? pass.second[i] : largest;
            }
            alive += largest > 0;
            classify(net, &pass, features);
            backward(net, &pass, features, labels[order[k]], 1.0f / rows, &gradient);
        }
        float *p = (float *)net, *v = (float *)velocity;
        const float *g = (const float *)&gradient;
        for (int i = 0; i < size; i++) v[i] = momentum * v[i] + g[i], p[i] -= rate * v[i];
    }
    return alive;
}

/* How many of the rows order[0..count-1] are classified correctly, without dropout. */
int correct(const unsigned char *images, const unsigned char *labels, const int32_t *order, int count,
            const Network *net) {
    static Pass pass;
    int found = 0;
    for (int k = 0; k < count; k++) {
        forward(net, &pass, images + 784 * (int64_t)order[k]);
        found += classify(net, &pass, pass.second) == labels[order[k]];
    }
    return found;
}
